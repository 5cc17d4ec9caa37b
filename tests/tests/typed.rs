//! What does not fit does not compile, and the compiler says so in the user's words.

#[test]
fn wiring_what_does_not_fit_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/fits.rs");
    cases.compile_fail("tests/ui/wrong_input.rs");
    cases.compile_fail("tests/ui/wrong_list.rs");
    cases.compile_fail("tests/ui/wrong_tuple.rs");
    cases.compile_fail("tests/ui/wrong_output.rs");
    cases.compile_fail("tests/ui/wrong_aggregate.rs");
}
