//! Every check of a recording, each with its sentence.
