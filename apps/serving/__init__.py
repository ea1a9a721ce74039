"""The page and the endpoint of serve.py, on FastAPI and uvicorn; imported only when it runs."""
