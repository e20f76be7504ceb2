"""Makes what is published: the OOMOL package, the API's description, the wheel and the sdist."""
