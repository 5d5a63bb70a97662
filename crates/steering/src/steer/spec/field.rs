//! Errors that name a field.

/// An error in one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Its name, with the way to it: `gate.above`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

impl std::error::Error for FieldError {}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field.as_str() {
            "" | "." => f.write_str(&self.reason),
            field => write!(f, "{field}: {}", self.reason),
        }
    }
}

/// Returns the error `reason` of the field `name`.
pub(crate) fn field(name: &str, reason: impl Into<String>) -> FieldError {
    FieldError { field: name.into(), reason: reason.into() }
}
