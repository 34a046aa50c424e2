"""`python -m thaw_operator`: the operator's process."""

from thaw_operator.main import main

main()
