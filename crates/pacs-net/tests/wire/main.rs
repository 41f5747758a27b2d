//! Whole associations: driver against driver over a pipe, and against foreign peers over TCP.

mod archive;
mod dcmtk;
mod tool;
