//! Objects of other programs, such as the firewall and the Task Scheduler, by the tables of their methods.
//!
//! Who uses this names a method by its place in the table, as the vendor's header has it, and says its type. Objects,
//! texts and the apartment of the thread are owned and given back on drop.
//!
//! The libraries of COM bring those of windows with them, and a process that has these hears of no logoff and no
//! shutdown by its console. So no program is linked with them: they are loaded when a registration first needs an
//! object, and no guard and no messenger ever does.

use super::text::{Wide, text_at};
use crate::platform::library::Library;
use core::ffi::c_void;
use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;
use windows_sys::Win32::Foundation::RPC_E_CHANGED_MODE;
use windows_sys::Win32::System::Com::{CLSCTX, CLSCTX_INPROC_SERVER, COINIT_MULTITHREADED};
use windows_sys::core::{GUID, HRESULT};

/// The method is there and does nothing.
pub(super) const NOT_IMPLEMENTED: HRESULT = 0x8000_4001_u32.cast_signed();

/// There is no program for such objects.
pub(super) const NO_CLASS: HRESULT = 0x8004_0154_u32.cast_signed();

/// A code of the OS as COM has it.
pub(super) const fn of_os(code: u32) -> HRESULT {
    (0x8007_0000 | code).cast_signed()
}

/// The result of a call.
pub(super) fn checked(result: HRESULT) -> io::Result<()> {
    if result >= 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// The result in an error that [`checked`] made.
pub(super) fn result(error: &io::Error) -> HRESULT {
    error.raw_os_error().unwrap_or_default()
}

type Initialize = unsafe extern "system" fn(*const c_void, u32) -> HRESULT;
type Uninitialize = unsafe extern "system" fn();
type Create = unsafe extern "system" fn(*const GUID, *mut c_void, CLSCTX, *const GUID, *mut *mut c_void) -> HRESULT;
type AllocateText = unsafe extern "system" fn(*const u16, u32) -> *const u16;
type FreeText = unsafe extern "system" fn(*const u16);

/// The functions of the two libraries, which stay loaded.
#[derive(Clone, Copy)]
struct Functions {
    initialize: Initialize,
    uninitialize: Uninitialize,
    create: Create,
    allocate_text: AllocateText,
    free_text: FreeText,
}

/// The functions; an error that says [`NO_CLASS`] on a computer without the libraries.
fn functions() -> io::Result<&'static Functions> {
    static LOADED: OnceLock<Option<Functions>> = OnceLock::new();
    LOADED.get_or_init(Functions::load).as_ref().ok_or_else(|| io::Error::from_raw_os_error(NO_CLASS))
}

impl Functions {
    fn load() -> Option<Functions> {
        let (objects, texts) = (Library::load("ole32.dll")?, Library::load("oleaut32.dll")?);
        Some(Functions {
            // SAFETY: `CoInitializeEx` is of this type.
            initialize: unsafe { objects.function(c"CoInitializeEx") }?,
            // SAFETY: `CoUninitialize` is of this type.
            uninitialize: unsafe { objects.function(c"CoUninitialize") }?,
            // SAFETY: `CoCreateInstance` is of this type.
            create: unsafe { objects.function(c"CoCreateInstance") }?,
            // SAFETY: `SysAllocStringLen` is of this type.
            allocate_text: unsafe { texts.function(c"SysAllocStringLen") }?,
            // SAFETY: `SysFreeString` is of this type.
            free_text: unsafe { texts.function(c"SysFreeString") }?,
        })
    }
}

/// This thread may use objects as long as this lives.
pub(super) struct Apartment {
    /// Of the one that has to be left.
    entered: Option<&'static Functions>,
    /// What belongs to a thread stays on it.
    _thread: std::marker::PhantomData<*const ()>,
}

impl Apartment {
    pub(super) fn enter() -> io::Result<Apartment> {
        let functions = functions()?;
        // SAFETY: the function of the library; nothing is handed over.
        let result = unsafe { (functions.initialize)(std::ptr::null(), COINIT_MULTITHREADED.cast_unsigned()) };
        // Another part of the program has chosen another kind; objects can be used all the same.
        if result != RPC_E_CHANGED_MODE {
            checked(result)?;
        }
        let entered = (result != RPC_E_CHANGED_MODE).then_some(functions);
        Ok(Apartment { entered, _thread: std::marker::PhantomData })
    }
}

impl Drop for Apartment {
    fn drop(&mut self) {
        if let Some(functions) = self.entered {
            // SAFETY: entered on this thread, which this value never left; left once.
            unsafe { (functions.uninitialize)() };
        }
    }
}

/// An object, by one of its interfaces.
pub(super) struct Object(NonNull<c_void>);

impl Object {
    /// A new object of a class.
    pub(super) fn create(class: &GUID, interface: &GUID) -> io::Result<Object> {
        let functions = functions()?;
        Object::given(|place| {
            // SAFETY: both identifiers live through the call; the object is written to a local.
            unsafe { (functions.create)(class, std::ptr::null_mut(), CLSCTX_INPROC_SERVER, interface, place) }
        })
    }

    /// The object that a call gives through a pointer.
    pub(super) fn given(call: impl FnOnce(*mut *mut c_void) -> HRESULT) -> io::Result<Object> {
        let mut object: *mut c_void = std::ptr::null_mut();
        checked(call(&raw mut object))?;
        NonNull::new(object).map(Object).ok_or_else(|| io::Error::other("an object was promised and none was given"))
    }

    /// For calls of its methods; valid as long as this lives.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }

    /// The method at `index` of its table.
    ///
    /// # Safety
    /// The interface has a method there, and `F` is its type: `unsafe extern "system" fn` with the object first.
    pub(super) unsafe fn method<F: Copy>(&self, index: usize) -> F {
        const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
        // SAFETY: an object begins with the pointer to its table.
        let table = unsafe { self.0.as_ptr().cast::<*const *const c_void>().read() };
        // SAFETY: the table has a method there, as the caller says.
        let place = unsafe { table.add(index) };
        // SAFETY: the place holds the pointer to a function of this type, as the caller says.
        unsafe { place.cast::<F>().read() }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        type Release = unsafe extern "system" fn(*mut c_void) -> u32;
        // SAFETY: the third method of every object.
        let release = unsafe { self.method::<Release>(2) };
        // SAFETY: the object was given to us, and is given back once.
        unsafe { release(self.as_ptr()) };
    }
}

/// A text that knows its length. Without memory, or on a computer without the libraries, it is null, which is an empty
/// text to everybody; there no object was made that could be given one.
pub(super) struct Text(*const u16);

impl Text {
    pub(super) fn new(text: &str) -> Text {
        let wide = Wide::new(text);
        let length = u32::try_from(text.encode_utf16().count()).unwrap_or(u32::MAX);
        let Ok(functions) = functions() else { return Text(std::ptr::null()) };
        // SAFETY: there are so many units.
        Text(unsafe { (functions.allocate_text)(wide.as_ptr(), length) })
    }

    /// The text that a call gives through a pointer.
    pub(super) fn given(call: impl FnOnce(*mut *const u16) -> HRESULT) -> io::Result<String> {
        let mut text = Text(std::ptr::null());
        checked(call(&raw mut text.0))?;
        // SAFETY: texts of this kind end with a NUL, and null is an empty one.
        Ok(unsafe { text_at(text.0) })
    }

    /// For calls; valid as long as this lives.
    pub(super) fn as_ptr(&self) -> *const u16 {
        self.0
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let Ok(functions) = functions() else { return };
        // SAFETY: made by the OS for us, or null; freed once.
        unsafe { (functions.free_text)(self.0) };
    }
}

/// A value of one of many kinds, as scripting languages pass them: here nothing, a number, or a text, which its maker
/// keeps.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    kind: u16,
    reserved: [u16; 3],
    value: *const c_void,
    more: *const c_void,
}

impl Variant {
    pub(super) const NOTHING: Variant =
        Variant { kind: 0, reserved: [0; 3], value: std::ptr::null(), more: std::ptr::null() };

    pub(super) fn number(number: i32) -> Variant {
        // The lower half of the place, where the OS looks for a number of this size.
        let value = usize::try_from(number.cast_unsigned()).unwrap_or_default();
        Variant { kind: 3, value: std::ptr::without_provenance(value), ..Variant::NOTHING }
    }

    /// Valid as long as the text lives.
    pub(super) fn text(text: &Text) -> Variant {
        Variant { kind: 8, value: text.0.cast(), ..Variant::NOTHING }
    }
}
