"""Programs that work on finished runs or start several, and that write a peer's files as ours."""
