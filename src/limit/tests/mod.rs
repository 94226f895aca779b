//! Tests of limits: tables, a model, threads and their orders.

mod algorithms;
mod leases;
mod model;
mod moving;
mod orders;
mod scene;
mod threads;
