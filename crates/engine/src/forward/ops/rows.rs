//! Activations, wherever they lie. Only the bodies of the operations look inside.

use super::cpu::shelf::{Buffer, Loan};
use std::borrow::Cow;
use std::fmt;

/// Activations: rows of equal width, `f32`, on the device that made them. [`Model::host`](crate::Model::host) reads
/// them. Rows made by a model give their memory back to it when they are dropped, so that a decoded token allocates
/// nothing.
#[derive(Clone)]
pub struct Rows {
    n_rows: usize,
    width: usize,
    pub(super) store: Store,
}

/// The memory that holds the elements, row after row.
#[derive(Clone)]
pub(super) enum Store {
    Cpu(Buffer),
}

/// Rows in the form that products read.
pub(crate) enum Input {
    Cpu(Loan),
}

/// Rows that the host can read: borrowed from its own memory, or copied from a device's.
pub struct HostRows<'a> {
    width: usize,
    elements: Cow<'a, [f32]>,
}

impl Rows {
    pub(super) fn new(n_rows: usize, width: usize, store: Store) -> Rows {
        Rows { n_rows, width, store }
    }

    /// Returns the number of elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Copies the rows `which`, in that order, where they lie.
    pub fn select(&self, which: &[usize]) -> Rows {
        let store = match &self.store {
            Store::Cpu(buffer) => Store::Cpu(buffer.select(which, self.width)),
        };
        Rows::new(which.len(), self.width, store)
    }

    /// Reads the elements. This is the one place that would wait for a device.
    pub(crate) fn read(&self) -> HostRows<'_> {
        let elements = match &self.store {
            Store::Cpu(buffer) => Cow::Borrowed(&buffer[..]),
        };
        HostRows { width: self.width, elements }
    }

    /// Lets the host change every row: `edit` gets the row's index and its elements, `[width]`.
    pub(crate) fn edit(mut self, mut edit: impl FnMut(usize, &mut [f32])) -> Rows {
        match &mut self.store {
            Store::Cpu(buffer) => {
                buffer.chunks_exact_mut(self.width).enumerate().for_each(|(row, values)| edit(row, values));
            }
        }
        self
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("n_rows", &self.n_rows)
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

impl HostRows<'_> {
    /// Returns the number of elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.elements.len() / self.width
    }

    /// Returns one row, `[width]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.elements[row * self.width..][..self.width]
    }

    /// Returns all elements, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.elements
    }
}
