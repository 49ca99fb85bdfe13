//! The doors of the guard, for tests and examples with real files.

use tutela_logs::{Access, Doors, Found};
use tutela_os::files::{
    Plain, append_plain, give, identity, like, make_folder, read_plain, remove_plain, rename_plain,
};

/// Those of the guard.
pub const DOORS: Doors = Doors {
    append: |path, access| append_plain(path, access.mode, access.owner).map(found),
    read: |path| read_plain(path).map(found),
    give: |file, access| give(file, access.mode, access.owner, access.group),
    like,
    identity,
    rename: rename_plain,
    remove: remove_plain,
    folder: |path, access| make_folder(path, access != Access::default()),
};

fn found(plain: Plain) -> Found {
    match plain {
        Plain::File(file) => Found::Plain(file),
        Plain::Other(word) => Found::Other(word),
    }
}
