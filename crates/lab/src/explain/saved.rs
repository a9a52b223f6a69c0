//! What is kept of a run, so that an interrupted one goes on where it was.
//!
//! Of each finished prompt its steps; of the running one the steps of the forward order so far. No tensor: the streams at
//! layer boundaries are computed again, in five passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use twinpath_evidence::attribution::MassiveShare;
use twinpath_formats::atomic::{write_atomically, write_error};

use super::chain::Step;
use crate::error::LabError;

/// Everything measured over one prompt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) forward: Vec<Step>,
    pub(super) reverse: Option<Vec<Step>>,
    /// `[order][group]`.
    pub(super) random: Vec<Vec<Step>>,
    #[serde(with = "exact")]
    pub(super) closure: f64,
    #[serde(with = "exact")]
    pub(super) relative_l2: f64,
    #[serde(with = "exact")]
    pub(super) kl: f64,
    #[serde(with = "exact")]
    pub(super) margin_a: f64,
    #[serde(with = "exact")]
    pub(super) margin_b: f64,
    /// Whether A and B are convicted, by site.
    pub(super) faults: BTreeMap<String, [bool; 2]>,
    pub(super) massive: Option<MassiveShare>,
}

/// Numbers as their bits: what is read again is what was written, to the last one.
pub(super) mod exact {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
    pub(crate) fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(x.to_bits())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        u64::deserialize(d).map(f64::from_bits)
    }
}

/// The state of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// What was asked for, as a hash.
    key: String,
    /// Weights read so far.
    pub(super) spent: u64,
    /// Prompts finished with closed layers, where some are opened afterwards.
    pub(super) closed: Vec<Finished>,
    /// Prompts finished.
    pub(super) finished: Vec<Finished>,
    /// Forward steps of the running prompt.
    pub(super) steps: Vec<Option<Step>>,
}

/// A state and its file.
pub(super) struct Saved {
    file: Option<PathBuf>,
    pub(super) state: State,
    last: Instant,
}

/// Time between two writes: a file is forced to disk each time.
const PAUSE: Duration = Duration::from_secs(1);

impl Saved {
    /// Goes on from `file` if it is there.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is of another run.
    pub(super) fn open(file: Option<&Path>, key: String) -> Result<Saved, LabError> {
        let fresh = State { key: key.clone(), ..State::default() };
        let state = match file {
            Some(file) if file.exists() => {
                let bad = |why: &str| LabError::BadCheckpoint { file: file.to_owned(), why: why.to_owned() };
                let bytes = std::fs::read(file).map_err(|source| LabError::Io { file: file.to_owned(), source })?;
                let state: State = serde_json::from_slice(&bytes).map_err(|e| bad(&e.to_string()))?;
                if state.key != key {
                    return Err(bad("it is of another run: other models, prompts or options"));
                }
                state
            }
            _ => fresh,
        };
        Ok(Saved { file: file.map(Path::to_owned), state, last: Instant::now() })
    }

    /// Writes the state, unless that was done a moment ago.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&mut self) -> Result<(), LabError> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.last.elapsed() < PAUSE && file.exists() {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.state).unwrap_or_else(|e| unreachable!("plain numbers and names: {e}"));
        write_atomically(file, |out| out.write_all(&text).map_err(|e| write_error(file, e)))?;
        self.last = Instant::now();
        Ok(())
    }

    /// Removes the file: the run is complete.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn remove(&self) -> Result<(), LabError> {
        match &self.file {
            Some(file) if file.exists() => {
                std::fs::remove_file(file).map_err(|source| LabError::Io { file: file.clone(), source })
            }
            _ => Ok(()),
        }
    }
}
