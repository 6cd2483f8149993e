//! Kernel parameters to recommend.

use super::facts::Known;
use super::{EffectiveCmdline, Facts, Profile, RecommendedParameter};

/// What the built-in profile recommends for such a kernel and is not given yet, in the profile's
/// order. Nothing where it is not certain that a parameter helps: none on arm64, and none without
/// a config.
pub fn recommended_parameters(facts: &Facts) -> Vec<RecommendedParameter> {
    match Profile::builtin("passthrough") {
        Ok(profile) => recommended(&profile, &Known::new(facts)),
        // The build script has read every built-in profile.
        Err(_) => Vec::new(),
    }
}

/// What this profile recommends for such a kernel and is not given yet.
pub(super) fn recommended(profile: &Profile, known: &Known<'_>) -> Vec<RecommendedParameter> {
    let given = |parameter: &str| {
        let mut given = known.cmdline.iter().flat_map(EffectiveCmdline::parameters);
        given.any(|given| given.word == parameter)
    };
    let recommended = profile.parameters.iter().filter(|own| own.scope.includes(known));
    recommended.filter(|own| !given(&own.parameter)).cloned().collect()
}
