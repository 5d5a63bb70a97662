//! Memory of a model's activations between uses.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use whipstaff_kernels::Input;

/// Buffers that wait for their next use. A forward pass takes and gives back the same few at every block.
#[derive(Default)]
pub(super) struct Shelf {
    buffers: Mutex<Vec<Vec<f32>>>,
    inputs: Mutex<Vec<Input>>,
}

/// More than a pass holds at once; what is given back beyond that is freed.
const KEPT: usize = 16;

/// Elements of rows, which go back to their [`Shelf`] when they are dropped.
pub(crate) struct Buffer {
    data: Vec<f32>,
    home: Option<Arc<Shelf>>,
}

/// Rows in the form that products read, on loan from a [`Shelf`].
pub(crate) struct Loan {
    /// There until it is dropped.
    input: Option<Input>,
    home: Arc<Shelf>,
}

impl Shelf {
    /// Takes a buffer of `len` elements, which are whatever they were last used for.
    pub(super) fn buffer(self: &Arc<Shelf>, len: usize) -> Buffer {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough; else the largest, to grow.
        let capacities = || buffers.iter().map(Vec::capacity).enumerate();
        let best = capacities().filter(|it| it.1 >= len).min_by_key(|it| it.1);
        let best = best.or_else(|| capacities().max_by_key(|it| it.1)).map(|it| it.0);
        let mut data = best.map(|i| buffers.swap_remove(i)).unwrap_or_default();
        drop(buffers);
        data.resize(len, 0.0);
        Buffer { data, home: Some(self.clone()) }
    }

    fn put(&self, data: Vec<f32>) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < KEPT {
            buffers.push(data);
        }
    }

    /// Takes an input of any shape, to be filled.
    pub(super) fn input(self: &Arc<Shelf>) -> Loan {
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        Loan { input: Some(inputs.pop().unwrap_or_default()), home: self.clone() }
    }
}

impl Buffer {
    /// Copies the rows `which`, each `[width]`, in that order.
    pub(crate) fn select(&self, which: &[usize], width: usize) -> Buffer {
        let len = which.len() * width;
        let mut out = match &self.home {
            Some(shelf) => shelf.buffer(len),
            None => Buffer { data: vec![0.0; len], home: None },
        };
        for (out, row) in out.chunks_exact_mut(width).zip(which) {
            out.copy_from_slice(&self[row * width..][..width]);
        }
        out
    }
}

/// A copy belongs to no shelf: it is made to be kept.
impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        Buffer { data: self.data.clone(), home: None }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.data
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(shelf) = &self.home {
            shelf.put(std::mem::take(&mut self.data));
        }
    }
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
