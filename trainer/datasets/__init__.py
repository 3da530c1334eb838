"""The public data sets as they lie on disk after a download; nothing is ever fetched."""
