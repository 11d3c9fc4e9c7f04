"""What changes data in this room; every function takes keyword arguments and is one transaction."""
