//! The variables of a program: those that every program of a guard gets, kept once, and over them its own.
//!
//! A thousand services have the same forty variables of the guard's; a map of them for each would cost more memory than
//! all that the guard knows of their programs.

use crate::template::Template;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

/// What programs share: values by names.
pub type Shared = BTreeMap<Arc<str>, Template>;

/// A map from names to values. It is what it answers: how much of it is shared makes no difference to anybody.
#[derive(Clone, Default)]
pub struct Env {
    shared: Arc<Shared>,
    /// `None`: it is not among the program's variables, though it is shared.
    own: BTreeMap<Arc<str>, Option<Template>>,
}

impl Env {
    /// The shared variables and nothing else.
    pub fn over(shared: Arc<Shared>) -> Env {
        Env { shared, own: BTreeMap::new() }
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&Template> {
        self.own.get(name).map_or_else(|| self.shared.get(name), Option::as_ref)
    }

    /// Whether there is such a variable.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Gives a variable a value, and answers the former one.
    pub fn insert(&mut self, name: Arc<str>, value: Template) -> Option<Template> {
        let former = self.get(&name).cloned();
        self.own.insert(name, Some(value));
        former
    }

    /// Takes a variable away, and answers its value.
    pub fn remove(&mut self, name: &str) -> Option<Template> {
        let former = self.get(name).cloned()?;
        match self.shared.get_key_value(name) {
            Some((name, _)) => drop(self.own.insert(name.clone(), None)),
            None => drop(self.own.remove(name)),
        }
        Some(former)
    }

    /// Takes away those that are not to stay.
    pub fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        let gone: Vec<Arc<str>> = self.keys().filter(|name| !stays(name)).cloned().collect();
        gone.iter().for_each(|name| drop(self.remove(name)));
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Template)> {
        let mut shared = self.shared.iter().filter(|(name, _)| !self.own.contains_key(&***name)).peekable();
        let mut own = self.own().peekable();
        std::iter::from_fn(move || match (shared.peek(), own.peek()) {
            (Some((one, _)), Some((other, _))) if one < other => shared.next(),
            (_, Some(_)) => own.next(),
            (_, None) => shared.next(),
        })
    }

    /// Their names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.iter().map(|(name, _)| name)
    }

    fn own(&self) -> impl Iterator<Item = (&Arc<str>, &Template)> {
        self.own.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

impl PartialEq for Env {
    fn eq(&self, other: &Env) -> bool {
        (Arc::ptr_eq(&self.shared, &other.shared) && self.own == other.own) || self.iter().eq(other.iter())
    }
}

impl Eq for Env {}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Index<&str> for Env {
    type Output = Template;

    /// # Panics
    /// There is no such variable.
    fn index(&self, name: &str) -> &Template {
        self.get(name).unwrap_or_else(|| panic!("there is no variable {name}"))
    }
}

impl FromIterator<(Arc<str>, Template)> for Env {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Template)>>(variables: I) -> Env {
        Env::over(Arc::new(variables.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deed() -> impl Strategy<Value = (String, Option<String>)> {
        ("[a-e]", proptest::option::of("[xy]"))
    }

    fn map() -> impl Strategy<Value = Shared> {
        proptest::collection::btree_map("[a-e]", "[xy]", 0..5)
            .prop_map(|map| map.into_iter().map(|(name, value)| (Arc::from(name), Template::fixed(value))).collect())
    }

    proptest! {
        #[test]
        fn it_is_the_map_that_it_looks_like(shared in map(), deeds in proptest::collection::vec(deed(), 0..8)) {
            let (mut plain, mut env) = (shared.clone(), Env::over(Arc::new(shared.clone())));
            for (name, value) in deeds {
                let value = value.map(Template::fixed);
                let former = match value.clone() {
                    Some(value) => env.insert(Arc::from(name.as_str()), value),
                    None => env.remove(&name),
                };
                let expected = match value {
                    Some(value) => plain.insert(Arc::from(name.as_str()), value),
                    None => plain.remove(name.as_str()),
                };
                prop_assert_eq!(former, expected);
                prop_assert_eq!(env.get(&name), plain.get(name.as_str()));
            }
            prop_assert!(env.iter().eq(plain.iter()), "{:?} {:?}", env, plain);
            prop_assert_eq!(&env, &plain.clone().into_iter().collect::<Env>());
        }
    }
}
