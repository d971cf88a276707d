//! Lets napi-build set the linker flags of the addon.

fn main() {
    napi_build::setup();
}
