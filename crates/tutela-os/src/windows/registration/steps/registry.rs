//! Steps in the registry.

use super::super::registry::{self, Data, Place, Tree};
use crate::Error;
use crate::platform::security::Descriptor;
use crate::registration::{Step, Undo};
use std::fmt;

/// Sets a value of a key that there is.
pub(in super::super) struct SetData {
    pub(in super::super) place: Place,
    pub(in super::super) name: String,
    pub(in super::super) data: Data,
}

impl fmt::Display for SetData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set {} of {}", self.name, self.place)
    }
}

impl Step for SetData {
    fn text(&self) -> Option<String> {
        Some(format!("{} = {}", self.name, self.data))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| Error::io(self.to_string(), source);
        let former = registry::read(&self.place, &self.name).map_err(failed)?;
        registry::write(&self.place, &self.name, &self.data).map_err(failed)?;
        Ok(Some(put_back(self.place.clone(), self.name.clone(), former)))
    }
}

/// Removes a value.
pub(in super::super) struct RemoveData {
    pub(in super::super) place: Place,
    pub(in super::super) name: String,
}

impl fmt::Display for RemoveData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove {} of {}", self.name, self.place)
    }
}

impl Step for RemoveData {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| Error::io(self.to_string(), source);
        let former = registry::read(&self.place, &self.name).map_err(failed)?;
        registry::remove(&self.place, &self.name).map_err(failed)?;
        Ok(Some(put_back(self.place.clone(), self.name.clone(), former)))
    }
}

fn put_back(place: Place, name: String, former: Option<Data>) -> Undo {
    Box::new(move || {
        let done = match &former {
            Some(data) => registry::write(&place, &name, data),
            None => registry::remove(&place, &name),
        };
        done.map_err(|source| Error::io(format!("put back {name} of {place}"), source))
    })
}

/// Makes a key with an access list of its own and with values, in place of what was there.
pub(in super::super) struct MakeKey {
    pub(in super::super) place: Place,
    /// `None`: that of the key above.
    pub(in super::super) access_list: Option<&'static str>,
    pub(in super::super) values: Vec<(&'static str, Data)>,
}

impl fmt::Display for MakeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make the key {}", self.place)
    }
}

impl Step for MakeKey {
    fn text(&self) -> Option<String> {
        let mut lines: Vec<String> = self.access_list.iter().map(|list| format!("access list {list}")).collect();
        lines.extend(self.values.iter().map(|(name, data)| format!("{name} = {data}")));
        Some(lines.join("\n"))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| Error::io(self.to_string(), source);
        let former = registry::tree(&self.place).map_err(failed)?;
        let undo = former_tree(self.place.clone(), former);
        let write = || {
            let descriptor = self.access_list.map(Descriptor::from_sddl).transpose()?;
            registry::make(&self.place, descriptor.as_ref())?;
            self.values.iter().try_for_each(|(name, data)| registry::write(&self.place, name, data))
        };
        match write() {
            Ok(()) => Ok(Some(undo)),
            // Half a key is none; that it stays is the lesser evil to hiding the cause.
            Err(source) => {
                drop(undo());
                Err(failed(source))
            }
        }
    }
}

/// Removes a key with everything in it.
pub(in super::super) struct RemoveKey(pub(in super::super) Place);

impl fmt::Display for RemoveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove the key {}", self.0)
    }
}

impl Step for RemoveKey {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |source| Error::io(self.to_string(), source);
        let former = registry::tree(&self.0).map_err(failed)?;
        registry::remove_tree(&self.0).map_err(failed)?;
        tidy(&self.0).map_err(failed)?;
        Ok(Some(former_tree(self.0.clone(), former)))
    }
}

fn former_tree(place: Place, former: Option<Tree>) -> Undo {
    Box::new(move || {
        let put = || {
            registry::remove_tree(&place)?;
            tidy(&place)?;
            former.iter().try_for_each(|tree| registry::put(&place, tree, None))
        };
        put().map_err(|source| Error::io(format!("put back {place}"), source))
    })
}

/// Removes the keys above that only hold keys like this one, once they hold none.
fn tidy(place: &Place) -> std::io::Result<()> {
    let above = |path: &str| Some(Place { root: place.root, path: path.rsplit_once('\\')?.0.to_owned() });
    let Some(all) = above(&place.path).filter(|all| all.path == super::super::kept::ALL) else { return Ok(()) };
    registry::remove_if_empty(&all)?;
    above(&all.path).map_or(Ok(()), |ours| registry::remove_if_empty(&ours))
}
