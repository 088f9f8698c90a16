// A character of `mvae-fast export walk --controller stick -o walk.onnx` in Unity 6, with the package
// Inference Engine (com.unity.ai.inference). Not run here: see README.md.
//
// Put the component on the root of a rig whose bones are named as in walk.json, in their rest pose
// as exported (a .glb of `mvae-fast generate` has this skeleton), and give it both files.
using System;
using Unity.InferenceEngine;
using UnityEngine;

public class Walker : MonoBehaviour
{
    public ModelAsset model;
    public TextAsset description;
    public int seed;

    [Serializable] class Skeleton { public string[] names; }
    [Serializable] class Description { public float fps; public float top_speed; public Skeleton skeleton; }

    Description about;
    Worker worker;
    Transform[] bones;
    float[] pose, root = new float[3], joints, rotations;
    Vector3 hipsBefore, hipsNow;
    Quaternion[] before, now;
    float passed;

    void Start()
    {
        about = JsonUtility.FromJson<Description>(description.text);
        pose = FirstPose(description.text, seed);
        worker = new Worker(ModelLoader.Load(model), BackendType.CPU);
        bones = Array.ConvertAll(about.skeleton.names, name => Find(transform, name));
        before = new Quaternion[bones.Length];
        now = new Quaternion[bones.Length];
        Step();
        Step();
    }

    void Update()
    {
        // The model has its own rate: between two of its frames, the picture is a mixture of both.
        for (passed += Time.deltaTime * about.fps; passed >= 1; passed -= 1) Step();
        for (int j = 0; j < bones.Length; ++j)
            if (bones[j]) bones[j].localRotation = Quaternion.Slerp(before[j], now[j], passed);
        if (bones[Hips()]) bones[Hips()].position = transform.position + Vector3.Lerp(hipsBefore, hipsNow, passed);
    }

    void Step()
    {
        var stick = new Vector2(Input.GetAxis("Horizontal"), Input.GetAxis("Vertical"));
        Vector3 ahead = Vector3.ProjectOnPlane(Camera.main.transform.forward, Vector3.up).normalized;
        Vector3 wanted = Vector3.ClampMagnitude(stick.y * ahead + stick.x * Vector3.Cross(Vector3.up, ahead), 1) * about.top_speed;
        // Unity is left-handed: x changes its sign.
        using var fedPose = new Tensor<float>(new TensorShape(1, pose.Length), pose);
        using var fedRoot = new Tensor<float>(new TensorShape(1, 3), root);
        using var velocity = new Tensor<float>(new TensorShape(1, 2), new[] { -wanted.x, wanted.z });
        worker.SetInput("pose", fedPose);
        worker.SetInput("root", fedRoot);
        worker.SetInput("velocity", velocity);
        worker.Schedule();
        pose = Read("next_pose");
        root = Read("next_root");
        joints = Read("joints");
        rotations = Read("rotations");
        (before, now) = (now, before);
        for (int j = 0; j < bones.Length; ++j)
            now[j] = new Quaternion(rotations[4 * j], -rotations[4 * j + 1], -rotations[4 * j + 2], rotations[4 * j + 3]);
        hipsBefore = hipsNow;
        int hips = 3 * Hips();
        hipsNow = new Vector3(-joints[hips], joints[hips + 1], joints[hips + 2]);
    }

    float[] Read(string output)
    {
        using var tensor = (worker.PeekOutput(output) as Tensor<float>).ReadbackAndClone();
        return tensor.DownloadToArray();
    }

    int Hips() => Array.IndexOf(about.skeleton.names, "Hips") is var at && at >= 0 ? at : 0;

    static Transform Find(Transform from, string name)
    {
        if (from.name == name) return from;
        foreach (Transform child in from)
            if (Find(child, name) is Transform found) return found;
        return null;
    }

    // JsonUtility reads no lists of lists.
    static float[] FirstPose(string json, int seed)
    {
        string list = json.Substring(json.IndexOf("\"starts\":[[", StringComparison.Ordinal) + 11);
        string[] poses = list.Substring(0, list.IndexOf("]]", StringComparison.Ordinal)).Split(new[] { "],[" }, StringSplitOptions.None);
        return Array.ConvertAll(poses[seed % poses.Length].Split(','), text => float.Parse(text, System.Globalization.CultureInfo.InvariantCulture));
    }

    void OnDestroy() => worker?.Dispose();
}
