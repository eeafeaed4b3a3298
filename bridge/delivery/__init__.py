"""What a destination is and decides, without any I/O: what is wanted, in which form, what an answer means, and when."""
