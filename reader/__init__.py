"""File list -> frame indices -> frames -> crops -> batches. Nothing here imports paddle: reader processes start fast."""
