"""Golden tests: everything a user, a scrape or a script sees of the product, compared with what was recorded.

They reach the product only by its command line, HTTP and files. `UPDATE_GOLDEN=1 pytest tests/golden` rewrites
`recorded/`; the git diff is the review.
"""
