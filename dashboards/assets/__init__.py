"""Scripts, styles and the frame of the match page, as the browser gets them."""
