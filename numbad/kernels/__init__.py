"""All that becomes machine code, how it is generated, checked and loaded; imports ops and tape."""
