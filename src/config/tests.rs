//! Documents as fixtures, bombs, and texts made of noise.
