"""What people look at: one HTML page per result, without an address outside it, and the curves of boards."""
