"""Makes what is published: the OOMOL package, the wheel and the sdist."""
