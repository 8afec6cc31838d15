"""Objects with the calls of libraries and devices that a test machine does not have."""
