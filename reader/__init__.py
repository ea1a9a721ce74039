"""File list -> frame indices -> frames -> crops -> batches. Without paddle, so that reader processes start fast."""
