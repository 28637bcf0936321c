"""Golden tests: compare all output for users, scrapes and scripts with recorded files.

They use the product only by its command line, HTTP and files. `UPDATE_GOLDEN=1 pytest tests/golden` rewrites
`recorded/`; the git diff is the review.
"""
