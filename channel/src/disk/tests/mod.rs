//! Tests of the disk channel on a simulated disk, and of the whole on a real one.

mod journal;
