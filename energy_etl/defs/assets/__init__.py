"""One module per group of assets; a vendor's group is named like the vendor.

`definitions.py` loads every module here, so a new group is one file and no edit elsewhere.
"""
