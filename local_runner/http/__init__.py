"""The HTTP API: the socket, who may call, the operations and their responses."""
