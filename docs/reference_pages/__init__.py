"""The reference pages, made from the code.

``python -m docs.reference_pages`` (or ``make reference``) puts what the code says between the
markers of each page in ``docs/reference``; the text around them is written by hand.  A test holds
that pages and code are equal.
"""
