//! A reference in a file: JSON lines, the first one a header and each other one an object.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Applied, Reference};
use crate::error::Error;
use crate::schema::structure::{Object, Structure};

/// The version of the file format.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    tenantry_reference: u32,
    /// As in `server_version_num`.
    server_version: i32,
    /// The tenant whose structure it is; null if the migrations produced it.
    tenant: Option<String>,
    migrations: Applied,
}

impl Reference {
    /// The structure at a version, in the format of a file; `None` if there is none. Equal structures have equal text.
    pub fn to_text(&self, applied: &Applied, server_version: i32) -> Option<String> {
        let structure = self.structure(applied)?;
        let header = Header {
            tenantry_reference: FORMAT,
            server_version,
            tenant: Some(structure.own_name.clone()).filter(|name| !name.is_empty()),
            migrations: applied.clone(),
        };
        let mut text = line(&header);
        for object in structure.objects.values() {
            text.push_str(&line(object));
        }
        Some(text)
    }

    /// Reads a reference from a file. It must be from a server of the same major version, because others deparse
    /// differently.
    ///
    /// # Errors
    /// [`Error::ReferenceFile`].
    pub fn load(path: &Path, server_version: i32) -> Result<Self, Error> {
        let failed = |message: String| Error::ReferenceFile { path: path.to_owned(), message };
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let mut lines = text.lines();
        let header: Header = lines
            .next()
            .and_then(|line| serde_json::from_str(line).ok())
            .filter(|header: &Header| header.tenantry_reference == FORMAT)
            .ok_or_else(|| failed("it is not a reference, or its format is not supported".to_owned()))?;
        let (theirs, ours) = (header.server_version / 10_000, server_version / 10_000);
        if theirs != ours {
            return Err(failed(format!("it is from PostgreSQL {theirs}, but the server is PostgreSQL {ours}")));
        }
        let objects: Structure = lines
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str::<Object>(line).map_err(|error| failed(format!("line {}: {error}", index + 2)))
            })
            .collect::<Result<_, _>>()?;
        let structure = Structure { own_name: header.tenant.unwrap_or_default(), ..objects };
        Ok(Self::of_one(header.migrations, structure))
    }
}

fn line(value: &impl Serialize) -> String {
    // The keys are strings, so serialization cannot fail.
    serde_json::to_string(value).expect("JSON") + "\n"
}
