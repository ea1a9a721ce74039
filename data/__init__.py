"""Programs that make data, run before the scripts: lists, their check, copies, a peer's files as ours."""
