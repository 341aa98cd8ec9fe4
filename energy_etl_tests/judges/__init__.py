"""What somebody else wrote, as a second opinion on ours: servers and clients of other projects."""
