"""`make soak`: the proofs of delivery at full size, minutes each. The small ones are tests."""
