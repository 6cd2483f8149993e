//! Which partitions the images of a set are for.

use super::partition::{Names, stem};
use crate::bootset::members::Members;
use crate::bootset::role::Role;
use crate::image::Image;

/// The names of each image: its kind allows some, and its role and the name of its file say which of
/// them comes first. What comes first for one image is not another's.
pub(in crate::bootset) fn names(set: &Members<'_>, roles: &[Role]) -> Vec<Names> {
    let recoveries = roles.iter().filter(|role| **role == Role::Recovery).count();
    let likeliest = |index: usize| {
        let all = set.images[index].kind().partitions();
        let role = roles.get(index).copied();
        let by_file = || all.iter().copied().find(|name| stem(set.name(index)) == *name);
        let by_role =
            role.map(Role::as_str).and_then(|name| all.iter().copied().find(|own| *own == name));
        // The ramdisk of boot.img may have recovery alone, too.
        let by_role = by_role.filter(|name| *name != "recovery" || recoveries == 1);
        let certain = by_role.filter(|name| *name == "recovery");
        certain.or_else(by_file).or(by_role).or(all.first().copied())
    };
    let first: Vec<Option<&str>> = (0..set.images.len()).map(likeliest).collect();
    let names = |(index, image): (usize, &Image<'_>)| {
        let all = image.kind().partitions().iter().copied();
        let others = all.filter(|name| !first.contains(&Some(*name)));
        Names::new(first[index].into_iter().chain(others))
    };
    set.images.iter().enumerate().map(names).collect()
}
