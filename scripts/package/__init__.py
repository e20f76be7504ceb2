"""Makes what is published: the OOMOL package, the API's spec, the wheel and the sdist."""
