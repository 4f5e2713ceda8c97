//! A reference in a file: a header line, and then a line for each object, all of them JSON.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Applied, Reference};
use crate::error::Error;
use crate::schema::structure::{Object, Structure};

/// The format of the lines behind the first.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    tenantry_reference: u32,
    /// As in `server_version_num`.
    server_version: i32,
    /// The tenant that it is of; none where the migrations made it.
    tenant: Option<String>,
    migrations: Applied,
}

impl Reference {
    /// The structure at a version as a file's text. The same structure is the same text.
    ///
    /// # Errors
    /// When there is none at that version.
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

    /// Reads a reference from a file, for tenants on a server of the same major version: others deparse differently.
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
            .ok_or_else(|| failed("it is no reference that this version reads".to_owned()))?;
        let (theirs, ours) = (header.server_version / 10_000, server_version / 10_000);
        if theirs != ours {
            return Err(failed(format!("it was made on PostgreSQL {theirs}, and the server is PostgreSQL {ours}")));
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
    // Keys are strings, and nothing else can fail.
    serde_json::to_string(value).expect("JSON") + "\n"
}
