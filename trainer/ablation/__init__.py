"""Which part of made heads, nets and pixels carries over: everything against everything but one, paired."""
