//! Activations, and the shelf that their memory goes back to.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use whipstaff_kernels::Input;

/// Activations: rows of equal width, `f32`, row-major. Rows made by a model give their memory back
/// to it when they are dropped, so that a decoded token allocates nothing.
pub struct Rows {
    width: usize,
    data: Vec<f32>,
    home: Option<Arc<Shelf>>,
}

impl Rows {
    /// Rows of zeros, `[n_rows, width]`.
    pub fn zeros(n_rows: usize, width: usize) -> Rows {
        Rows { width, data: vec![0.0; n_rows * width], home: None }
    }

    /// Elements per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.data.len() / self.width
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.width..][..self.width]
    }

    /// One row, to write to.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.width..][..self.width]
    }

    /// All elements, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// All elements, to write to.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The rows `which`, copied in that order.
    pub fn select(&self, which: &[usize]) -> Rows {
        let mut out = match &self.home {
            Some(shelf) => shelf.rows(which.len(), self.width),
            None => Rows::zeros(which.len(), self.width),
        };
        for (i, row) in which.iter().enumerate() {
            out.row_mut(i).copy_from_slice(self.row(*row));
        }
        out
    }
}

impl Clone for Rows {
    fn clone(&self) -> Rows {
        Rows { width: self.width, data: self.data.clone(), home: None }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("width", &self.width).field("data", &self.data).finish()
    }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Rows) -> bool {
        self.width == other.width && self.data == other.data
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(shelf) = &self.home {
            shelf.put(std::mem::take(&mut self.data));
        }
    }
}

/// Memory of a model's activations between uses. A forward pass takes and gives back the same few
/// buffers at every block.
#[derive(Default)]
pub(crate) struct Shelf {
    buffers: Mutex<Vec<Vec<f32>>>,
    inputs: Mutex<Vec<Input>>,
}

/// More than a pass holds at once; what is given back beyond that is freed.
const KEPT: usize = 16;

impl Shelf {
    /// Rows whose elements are whatever they were last used for.
    pub(crate) fn rows(self: &Arc<Shelf>, n_rows: usize, width: usize) -> Rows {
        let len = n_rows * width;
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough; else the largest, to grow.
        let capacities = || buffers.iter().map(Vec::capacity).enumerate();
        let best = capacities().filter(|it| it.1 >= len).min_by_key(|it| it.1);
        let best = best.or_else(|| capacities().max_by_key(|it| it.1)).map(|it| it.0);
        let mut data = best.map(|i| buffers.swap_remove(i)).unwrap_or_default();
        drop(buffers);
        data.resize(len, 0.0);
        Rows { width, data, home: Some(self.clone()) }
    }

    fn put(&self, data: Vec<f32>) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < KEPT {
            buffers.push(data);
        }
    }

    /// An input of any shape, to be filled.
    pub(crate) fn input(self: &Arc<Shelf>) -> Loan {
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        Loan { input: Some(inputs.pop().unwrap_or_default()), home: self.clone() }
    }
}

/// Rows in the form that products read, on loan from a [`Shelf`].
pub(crate) struct Loan {
    /// There until it is dropped.
    input: Option<Input>,
    home: Arc<Shelf>,
}

impl Deref for Loan {
    type Target = Input;
    fn deref(&self) -> &Input {
        self.input.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Input {
        self.input.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut inputs = self.home.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        if inputs.len() < KEPT {
            inputs.extend(self.input.take());
        }
    }
}
