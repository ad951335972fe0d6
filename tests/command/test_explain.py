"""`pantograph explain`: whoever has nothing but the command finds every field, and what it takes."""

from pantograph.api import schema


def test_every_kind_and_every_field_of_it_is_told(call):
    kinds = call("explain")
    for plural, crd in schema.crds().items():
        kind = crd["spec"]["names"]["kind"]
        assert kind in kinds.stdout
        told = call("explain", plural).stdout
        fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        for field in fields:
            assert f"\nspec.{field}" in told


def test_a_part_is_told_with_what_each_field_takes(call):
    told = call("explain", "reflection.spec.columns[]").stdout
    assert "system   sourceTime, appliedAt, database or operation" in told
    told = call("explain", "database.spec.reflector").stdout
    assert "pollInterval   a duration: 200ms, 90s, 7d; 200ms unless given" in told
    assert "sweep.parallel   a number, 1 to 16; 2 unless given" in told


def test_a_field_that_is_not_there_is_refused_with_the_nearest(call):
    refused = call("explain", "reflection.spec.colums")
    assert refused.returncode == 2
    assert "Reflection.spec has no field colums (did you mean columns?); there are: " in refused.stderr
    assert "there is no kind reflexion" in call("explain", "reflexion").stderr
