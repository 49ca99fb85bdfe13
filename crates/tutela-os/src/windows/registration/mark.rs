//! The mark of ours: a key under the service's own, by which a registration is known as ours, and which remembers what
//! was made for it besides, so that removing takes away that and nothing else.
//!
//! Readable by everybody, so that everybody can list; nothing secret is in it.

use super::registry::{self, Data, Place};
use super::steps::{RemoveData, SetData};
use crate::registration::Step;
use std::io;
use std::path::PathBuf;

/// Where the SCM keeps services.
pub(super) const SERVICES: &str = r"SYSTEM\CurrentControlSet\Services";

/// The access list of the mark: by default users could change what is under a service's key.
pub(super) const ACCESS_LIST: &str = "D:P(A;CI;KA;;;SY)(A;CI;KA;;;BA)(A;CI;KR;;;BU)(A;CI;KR;;;SU)";

/// The value that makes it ours: the version that registered it.
pub(super) const VERSION: &str = "Tutela";
/// The identifier of the account that was given the right to log on as a service.
pub(super) const GRANTED: &str = "GrantedServiceLogonRight";
/// The same of the right to log on as a batch job.
pub(super) const GRANTED_BATCH: &str = "GrantedBatchLogonRight";
/// Folders of its own, each as `state=PATH`.
pub(super) const FOLDERS: &str = "Folders";
/// Names of rules in the firewall.
pub(super) const OPENINGS: &str = "FirewallRules";
/// The source in the Event Log that was registered for it.
pub(super) const SOURCE: &str = "EventSource";

/// Of what is no service: `task` or `login`.
pub(super) const KIND: &str = "Kind";
/// Of what is no service: what was registered, for comparing.
pub(super) const DEFINITION: &str = "Definition";

/// The key of a service.
pub(super) fn service_key(name: &str) -> Place {
    Place::machine(format!("{SERVICES}\\{name}"))
}

/// The key of its mark.
pub(super) fn key(name: &str) -> Place {
    service_key(name).child("Parameters")
}

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) version: String,
    pub(super) granted: Option<String>,
    pub(super) granted_batch: Option<String>,
    pub(super) folders: Vec<String>,
    pub(super) openings: Vec<String>,
    pub(super) source: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) definition: Option<String>,
}

impl Mark {
    /// Reads the mark of a service; `None`: it has none, so it is not ours.
    pub(super) fn read(name: &str) -> io::Result<Option<Mark>> {
        Mark::read_at(&key(name))
    }

    /// Reads a mark wherever it is.
    pub(super) fn read_at(place: &Place) -> io::Result<Option<Mark>> {
        let text = |name| registry::read(place, name).map(|data| data.and_then(|data| data.as_text()));
        let texts = |name| registry::read(place, name).map(|data| data.and_then(|data| data.as_texts()));
        let Some(version) = text(VERSION)? else { return Ok(None) };
        Ok(Some(Mark {
            version,
            granted: text(GRANTED)?,
            granted_batch: text(GRANTED_BATCH)?,
            folders: texts(FOLDERS)?.unwrap_or_default(),
            openings: texts(OPENINGS)?.unwrap_or_default(),
            source: text(SOURCE)?,
            kind: text(KIND)?,
            definition: text(DEFINITION)?,
        }))
    }

    /// Its values: what is there, and what is to be away.
    fn values(&self) -> Vec<(&'static str, Option<Data>)> {
        let list = |texts: &[String]| (!texts.is_empty()).then(|| Data::texts(texts));
        vec![
            (VERSION, Some(Data::text(&self.version))),
            (GRANTED, self.granted.as_deref().map(Data::text)),
            (GRANTED_BATCH, self.granted_batch.as_deref().map(Data::text)),
            (FOLDERS, list(&self.folders)),
            (OPENINGS, list(&self.openings)),
            (SOURCE, self.source.as_deref().map(Data::text)),
            (KIND, self.kind.as_deref().map(Data::text)),
            (DEFINITION, self.definition.as_deref().map(Data::text)),
        ]
    }

    /// A step for every value that differs from those of a former mark at `place`.
    pub(super) fn steps(&self, former: &Mark, place: &Place) -> Vec<Box<dyn Step>> {
        let mut steps: Vec<Box<dyn Step>> = Vec::new();
        for ((name, data), (_, there)) in self.values().into_iter().zip(former.values()) {
            let (place, name) = (place.clone(), name.to_owned());
            match data {
                data if data == there => {}
                Some(data) => steps.push(Box::new(SetData { place, name, data })),
                None => steps.push(Box::new(RemoveData { place, name })),
            }
        }
        steps
    }

    /// The values of a whole mark, for making its key.
    pub(super) fn whole(&self) -> Vec<(&'static str, Data)> {
        self.values().into_iter().filter_map(|(name, data)| Some((name, data?))).collect()
    }

    /// The folders of one kind: `state`, `logs` or `runtime`.
    pub(super) fn folders_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        self.folders.iter().filter_map(move |folder| {
            let (what, path) = folder.split_once('=')?;
            (what == kind).then(|| PathBuf::from(path))
        })
    }
}
