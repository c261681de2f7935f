"""HTML reports: one self-contained file each, readable in a browser, in an iframe and on paper."""
