//! Limits end to end in the control plane.
