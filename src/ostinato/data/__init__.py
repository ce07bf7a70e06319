"""Files of music and the music data sets, as binary frames and as parallel streams."""
