"""The admission policies, generated from the models: what a driver may write, and what a job's author may name.

Both are evaluated by the apiserver itself (ValidatingAdmissionPolicy): no webhook, and nothing of ours has to run.
"""

from typing import Any

from thaw_api.contract import CLAIM_SCHEME, TRAINER_ACCOUNT_PREFIX
from thaw_api.job import GROUP, PLURAL, VERSION
from thaw_api.status import FineTuneJobStatus

MAX_SECRET_REFERENCES = 16
MAX_CLAIM_REFERENCES = 8
"""One check of a right costs the apiserver 350,000 of the 10,000,000 that a policy's expressions may cost together, and
no single expression may cost more than 1,000,000: so each reference has an expression of its own."""

_ACCOUNT = f"system:serviceaccount:[^:]+:{TRAINER_ACCOUNT_PREFIX}.*"


def admission_policies() -> list[dict[str, Any]]:
    """Both policies with their bindings."""
    policies = [trainer_policy(), author_policy()]
    return [item for policy in policies for item in (policy, _binding(policy["metadata"]["name"]))]


def trainer_policy() -> dict[str, Any]:
    """Each driver's account may write `status.training` of its own job, about that very job, and nothing else."""
    own = f"'system:serviceaccount:' + object.metadata.namespace + ':{TRAINER_ACCOUNT_PREFIX}' + object.metadata.name"
    fields = [field.alias or name for name, field in FineTuneJobStatus.model_fields.items() if name != "training"]
    validations = [
        {
            "expression": f"request.userInfo.username == {own}",
            "message": "a driver may report to its own job only",
            "reason": "Forbidden",
        },
        {
            "expression": "object.?status.?training.?jobUID.orValue('') == object.metadata.uid",
            "message": "status.training.jobUID must be the uid of this job, and not of an older one of its name",
        },
        *(
            {
                "expression": f"object.?status.?{field} == oldObject.?status.?{field}",
                "message": f"a driver may write status.training only, and status.{field} would change",
                "reason": "Forbidden",
            }
            for field in fields
        ),
    ]
    conditions = [{"name": "is-a-driver", "expression": f"request.userInfo.username.matches('^{_ACCOUNT}$')"}]
    spec = _spec(f"{PLURAL}/status", ["UPDATE"]) | {"matchConditions": conditions, "validations": validations}
    return _policy("thaw-trainer-status", spec)


def author_policy() -> dict[str, Any]:
    """Who creates a job, or changes its spec, must be allowed to read the Secrets and claims that it names."""
    uris = [
        "[object.spec.model.uri, object.spec.output.uri]",
        *(f"(has(object.spec.data.{part}) ? [object.spec.data.{part}.uri] : [])" for part in _PARTS),
        "(variables.searched.size() == 0 ? [] : variables.searched[0].choice.values.filter(v, type(v) == string))",
    ]
    variables = [
        {
            "name": "searched",
            "expression": "object.spec.?search.?parameters.orValue([])"
            ".filter(p, p.path == 'model.uri' && has(p.choice))",
        },
        {
            "name": "secrets",
            "expression": "object.spec.?cluster.?workers.?env.orValue([])"
            ".filter(e, has(e.secretKeyRef)).map(e, e.secretKeyRef.name)",
        },
        {"name": "uris", "expression": " + ".join(uris)},
        {
            "name": "claims",
            "expression": f"variables.uris.filter(u, u.startsWith('{CLAIM_SCHEME}')).map(u, u.split('/')[2])",
        },
    ]
    validations = [
        {"expression": "variables.searched.size() <= 1", "message": "model.uri is searched by one parameter at most"},
        *_checks("secrets", "secrets", "Secret", MAX_SECRET_REFERENCES),
        *_checks("claims", "persistentvolumeclaims", "PersistentVolumeClaim", MAX_CLAIM_REFERENCES),
    ]
    unchanged = "request.operation == 'UPDATE' && object.spec == oldObject.spec"
    conditions = [{"name": "spec-changes", "expression": f"!({unchanged})"}]
    spec = _spec(PLURAL, ["CREATE", "UPDATE"])
    return _policy(
        "thaw-author-rights", spec | {"matchConditions": conditions, "variables": variables, "validations": validations}
    )


_PARTS = ("train", "validation", "test")


def _checks(variable: str, resource: str, kind: str, most: int) -> list[dict[str, Any]]:
    names = f"variables.{variable}"
    too_many = {
        "expression": f"{names}.size() <= {most}",
        "message": f"a job names at most {most} {kind}s, each mention counted",
    }
    right = f"authorizer.group('').resource('{resource}').namespace(object.metadata.namespace)"
    return [
        too_many,
        *(
            {
                "expression": f"{names}.size() <= {index} || {right}.name({names}[{index}]).check('get').allowed()",
                "messageExpression": f"'you may not read the {kind} ' + {names}[{index}] + ', which the job names'",
                "reason": "Forbidden",
            }
            for index in range(most)
        ),
    ]


def _spec(resource: str, operations: list[str]) -> dict[str, Any]:
    rule = {"apiGroups": [GROUP], "apiVersions": [VERSION], "operations": operations, "resources": [resource]}
    return {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}}


def _policy(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def _binding(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
