"""Work on finished runs, start several runs, and convert a peer's files."""
