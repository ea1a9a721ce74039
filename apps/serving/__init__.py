"""Serve the page and the endpoint of serve.py with FastAPI and uvicorn; imported only by serve.py."""
