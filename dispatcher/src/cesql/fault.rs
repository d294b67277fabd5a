//! What can go wrong in an evaluation, and the set that collects it.

use smallvec::SmallVec;

use super::{BUILT_BYTES_MAX, Function, STEPS_MAX, Type};

/// Most faults that one evaluation reports; what comes after them is left out.
const FAULTS_MAX: usize = 16;

/// An error of an evaluation, which gives a value all the same. Spec: CESQL 1.0, 3.3.
///
/// Its `ParseError` is [`ParseError`](super::ParseError) here: an expression that does not parse
/// is never evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault<'x> {
    /// `MathError`: a division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// `MathError`: a number that 32 bits cannot hold.
    #[error("the number is out of range")]
    Overflow,
    /// `CastError`: a text that does not read as this type.
    #[error("the text is not of type {to}")]
    Cast {
        /// The type that was needed.
        to: Type,
    },
    /// `MissingAttributeError`: the event does not have it.
    #[error("the event has no attribute `{0}`")]
    MissingAttribute(&'x str),
    /// `MissingFunctionError`: there is none of this name, or none with so many arguments.
    #[error("there is no function {name} with {arity} arguments")]
    MissingFunction {
        /// The name, in upper case.
        name: &'x str,
        /// How many arguments it was called with.
        arity: usize,
    },
    /// `FunctionEvaluationError`: an argument that the function does not take.
    #[error("an argument of {0} is out of range")]
    Function(Function),
    /// `GenericError`: more than [`STEPS_MAX`] steps.
    #[error("the evaluation takes more than {STEPS_MAX} steps")]
    Steps,
    /// `GenericError`: functions would make more than [`BUILT_BYTES_MAX`] bytes of text.
    #[error("the evaluation makes more than {BUILT_BYTES_MAX} bytes of text")]
    Built,
}

/// The faults of one evaluation, in the order in which they were met, none of them twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults<'x>(SmallVec<[Fault<'x>; 2]>);

impl<'x> Faults<'x> {
    pub(super) fn add(&mut self, fault: Fault<'x>) {
        if self.0.len() < FAULTS_MAX && !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    /// Whether nothing went wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fault<'x>> {
        self.0.iter()
    }
}
